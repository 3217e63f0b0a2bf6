package auricle;

import java.io.Reader;
import java.util.List;
import javax.script.AbstractScriptEngine;
import javax.script.Bindings;
import javax.script.ScriptContext;
import javax.script.ScriptEngine;
import javax.script.ScriptEngineFactory;
import javax.script.ScriptException;
import javax.script.SimpleBindings;

/**
 * All the "JavaScript" that SPICE 1.0 needs: it runs one script, which pretty-prints its JSON result, and Java has had
 * no JavaScript engine since version 15. The result is left as it is. Any other script is refused.
 *
 * <p>Compiled by: javac --release 8 -g:none -d . Engine.java
 */
public final class Engine extends AbstractScriptEngine implements ScriptEngineFactory {
    private static final String SCRIPT = "result = JSON.stringify(JSON.parse(jsonString), null, 2)";

    @Override
    public Object eval(String script, ScriptContext context) throws ScriptException {
        if (!script.equals(SCRIPT)) {
            throw new ScriptException("auricle's engine runs no script but SPICE's own: " + script);
        }
        context.setAttribute("result", context.getAttribute("jsonString"), ScriptContext.ENGINE_SCOPE);
        return get("result");
    }

    @Override
    public Object eval(Reader script, ScriptContext context) throws ScriptException {
        throw new ScriptException("auricle's engine runs no script but SPICE's own");
    }

    @Override
    public Bindings createBindings() {
        return new SimpleBindings();
    }

    @Override
    public ScriptEngineFactory getFactory() {
        return this;
    }

    @Override
    public ScriptEngine getScriptEngine() {
        return new Engine();
    }

    @Override
    public List<String> getNames() {
        return java.util.Collections.singletonList("JavaScript");
    }

    @Override
    public String getEngineName() {
        return "auricle's engine for SPICE";
    }

    @Override
    public String getEngineVersion() {
        return "1";
    }

    @Override
    public List<String> getExtensions() {
        return java.util.Collections.emptyList();
    }

    @Override
    public List<String> getMimeTypes() {
        return java.util.Collections.emptyList();
    }

    @Override
    public String getLanguageName() {
        return "JavaScript";
    }

    @Override
    public String getLanguageVersion() {
        return "one script of it";
    }

    @Override
    public Object getParameter(String key) {
        return null;
    }

    @Override
    public String getMethodCallSyntax(String object, String method, String... arguments) {
        throw new UnsupportedOperationException();
    }

    @Override
    public String getOutputStatement(String text) {
        throw new UnsupportedOperationException();
    }

    @Override
    public String getProgram(String... statements) {
        throw new UnsupportedOperationException();
    }
}
