"""Shows comments of fields in the reference.

Ours stand next to or above the fields, where griffe looks for docstrings below.
"""

import ast
import io
import textwrap
import tokenize
from typing import Any

from griffe import Class, Docstring, Extension, ObjectNode


class FieldComments(Extension):
    """Puts a table of a class's fields into its docstring."""

    def on_class_members(self, *, node: ast.AST | ObjectNode, cls: Class, **_: Any) -> None:
        """Called with each class that was read."""
        if (
            not isinstance(node, ast.ClassDef)
            or cls.docstring is None
            or "Attributes:" in cls.docstring.value
        ):
            return
        lines = cls.lines_collection[cls.filepath]  # type: ignore[index]
        fields = {
            field.target.id: _comment(lines, field.lineno - 1, field.end_lineno or field.lineno)
            for field in node.body
            if isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and field.target.id[0] != "_"
        }
        if any(fields.values()):
            table = "\n".join(
                f"    {name}: {comment or '&nbsp;'}" for name, comment in fields.items()
            )
            cls.docstring = Docstring(
                f"{cls.docstring.value}\n\nAttributes:\n{table}",
                parent=cls,
                parser="google",
                lineno=cls.docstring.lineno,
            )


def _comment(lines: list[str], first: int, end: int) -> str:
    above = first
    while lines[above - 1].strip().startswith("# "):
        above -= 1
    source = io.StringIO(textwrap.dedent("\n".join(lines[above:end])))
    tokens = tokenize.generate_tokens(source.readline)
    return " ".join(
        token.string.removeprefix("# ") for token in tokens if token.type == tokenize.COMMENT
    )
