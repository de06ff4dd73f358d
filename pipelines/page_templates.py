"""The pages of this package: one HTML file each that needs no network, pictures inside it."""

import base64
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined


def rendered(template: str, **values: object) -> str:
    """Return a page of ``pipelines/templates``; every value is escaped, a missing one an error."""
    return _environment().get_template(template).render(values)


def data_url(content: bytes, media_type: str = "image/png") -> str:
    """Return an address that holds a picture itself."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("pipelines", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
