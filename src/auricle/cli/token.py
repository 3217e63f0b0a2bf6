"""The commands `token`: which devices may use a server."""

from typing import TYPE_CHECKING, Annotated

import typer

from auricle.cli.options import settings_folder

if TYPE_CHECKING:
    from auricle.serving.tokens import DeviceTokens

token_app = typer.Typer(
    name="token",
    no_args_is_help=True,
    help="Tokens of the devices that may use `auricle serve`.",
)
DeviceName = Annotated[
    str, typer.Argument(help="A name for the device, for example 'kitchen tablet'.")
]


def device_tokens() -> "DeviceTokens":
    """Return the tokens that are kept with the user's settings.

    Raises:
        AuricleError: there is no home folder.
    """
    from auricle.serving.tokens import DeviceTokens

    return DeviceTokens(settings_folder("tokens") / "tokens.json")


@token_app.command()
def issue(name: DeviceName) -> None:
    """Make a token for a device and print it. It is shown only once.

    A running server accepts it at once, at addresses that ask for a token. Add it to the address
    of the page: https://ADDRESS:8000/#token=TOKEN.

    Examples:

        auricle token issue phone
    """
    print(device_tokens().issue(name))


@token_app.command("list")
def list_tokens() -> None:
    """Print the devices that have a token, and the dates of issue.

    Examples:

        auricle token list
    """
    for device in device_tokens().devices:
        print(f"{device.issued}  {device.name}")


@token_app.command()
def revoke(name: DeviceName) -> None:
    """Revoke the token of a device.

    Examples:

        auricle token revoke phone
    """
    device_tokens().revoke(name)
