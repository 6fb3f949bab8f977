"""The page."""

from aiohttp import web

from penstock.services.distributor.inputs import elasticsearch
from penstock.services.distributor.page import PAGE

__all__ = ["show_page"]

PAGE_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": "frame-ancestors 'none'",  # the page itself carries the rest of its policy
    "X-Content-Type-Options": "nosniff",
}


async def show_page(request: web.Request) -> web.Response:
    """The page, which asks the API for everything it shows; clients of Elasticsearch ask here who answers."""
    if product := elasticsearch.product(request):
        return product
    return web.Response(body=PAGE, headers=PAGE_HEADERS)
