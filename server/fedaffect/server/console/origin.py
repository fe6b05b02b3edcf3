"""Only the server's own page may ask the console: what a browser says of where a request comes from."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers

from fedaffect.server.errors import Forbidden

# A page of another origin cannot send it unless this server agrees beforehand (CORS), and it never does.
WRITES: Final = "X-Fedaffect-Console"
_OWN: Final = frozenset({"same-origin", "none"})


def check_origin(headers: Headers, scheme: str, *, writes: bool) -> None:
    """Refuse what another page has a browser send.

    The cookie is ``SameSite=Strict``; but pages at other ports of a host are of its site too.

    Parameters
    ----------
    headers : Headers
    scheme : str
        ``http`` or ``https``, as the request came.
    writes : bool
        Whether it changes something: it must bear the page's header then.

    Raises
    ------
    Forbidden
    """
    own = f"{scheme}://{headers.get('host', '')}"
    if any(origin != own for origin in headers.getlist("origin")):
        raise Forbidden("a page of another origin may not ask the console; open the server's own page")
    if headers.get("sec-fetch-site", "same-origin") not in _OWN:
        raise Forbidden("a page of another site may not ask the console; open the server's own page")
    if writes and headers.get(WRITES) != "1":
        raise Forbidden(f"what changes something is asked with the header {WRITES}: 1")
