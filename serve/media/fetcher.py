"""Fetches what strangers name, from the public internet alone.

A server stands where its clients do not: behind firewalls, beside databases, in clouds whose
metadata has keys. So a name is resolved here, its addresses are looked at, and the connection goes
to the very address that was looked at; each redirect is a new address. Nothing of this machine
goes along: no cookies, no proxies of its environment, no passwords.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx

from serve.media.addresses import web_url
from serve.media.errors import MediaError
from serve.media.public import is_public

logger = logging.getLogger(__name__)

Resolve = Callable[[str, int], Awaitable[list[str]]]

_PORTS = {"http": 80, "https": 443}
_REDIRECTS = {301, 302, 303, 307, 308}
# Of those that a name has, with the first that connects.
_MOST_ADDRESSES = 4
_RESOLVING_THREADS = 8


@dataclass(frozen=True)
class FetchLimits:
    """Bounds of one fetch.

    Attributes:
        file_bytes: of what is fetched.
        seconds: from the name's resolving to the last byte, over all redirects.
        redirects: that are followed.
        ports: that are connected to.
    """

    file_bytes: int = 20 * 2**20
    seconds: float = 4.0
    redirects: int = 3
    ports: frozenset[int] = frozenset(_PORTS.values())


class ImageFetcher:
    """Fetches; belongs to one event loop.

    Args:
        limits: of each fetch.
        resolve: the numeric addresses of a host; the system's way, if none is given.
        public: whether a numeric address may be connected to.
        trusted: certificates; those that httpx brings, if none are given.
    """

    def __init__(
        self,
        limits: FetchLimits,
        *,
        resolve: Resolve | None = None,
        public: Callable[[str], bool] = is_public,
        trusted: ssl.SSLContext | None = None,
    ) -> None:
        self._limits = limits
        # Names can take long, and must not take the threads that others wait for.
        self._threads = ThreadPoolExecutor(_RESOLVING_THREADS, thread_name_prefix="names")
        self._resolve = resolve or self._system_addresses
        self._public = public
        # The transport alone: a client would keep cookies and follow redirects. And no connection
        # is used twice, for the name that its certificate was checked for is the first one's.
        self._transport = httpx.AsyncHTTPTransport(
            verify=True if trusted is None else trusted,
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    async def fetch(self, url: httpx.URL) -> bytes:
        """What is at an address.

        Raises:
            MediaError: it may not be fetched, it is too large, or it did not come.
        """
        try:
            async with asyncio.timeout(self._limits.seconds):
                return await self._follow(url)
        except TimeoutError as error:
            raise _failed(f"it took more than {self._limits.seconds:g} seconds") from error

    async def close(self) -> None:
        """End its connections and threads."""
        await self._transport.aclose()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _follow(self, url: httpx.URL) -> bytes:
        for _ in range(self._limits.redirects + 1):
            found = await self._visit(url)
            if isinstance(found, bytes):
                return found
            url = found
        raise _failed(f"it was redirected more than {self._limits.redirects} times")

    async def _visit(self, url: httpx.URL) -> bytes | httpx.URL:
        """The file, or where else it is."""
        port = _PORTS[url.scheme] if url.port is None else url.port
        if port not in self._limits.ports:
            allowed = ", ".join(map(str, sorted(self._limits.ports)))
            raise _failed(f"port {port} is not connected to; allowed are {allowed}")
        response = await self._answer(url, await self._addresses(url, port))
        try:
            if response.status_code in _REDIRECTS and "location" in response.headers:
                return _joined(url, response.headers["location"])
            return await self._body(response)
        finally:
            await response.aclose()

    async def _addresses(self, url: httpx.URL, port: int) -> list[str]:
        try:
            addresses = await self._resolve(url.raw_host.decode("ascii"), port)
        # Names that are too long are a ValueError.
        except (OSError, ValueError) as error:
            logger.debug("%s: %s", url.host, error)
            addresses = []
        public = [address for address in addresses if self._public(address)]
        if not public:
            # Which names there are inside is nobody's business.
            raise _failed("its host has no address on the public internet")
        return public[:_MOST_ADDRESSES]

    async def _system_addresses(self, host: str, port: int) -> list[str]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        )
        return list(dict.fromkeys(str(place[0]) for *_, place in found))

    async def _answer(self, url: httpx.URL, addresses: list[str]) -> httpx.Response:
        """Of the first address that can be connected to."""
        host = url.raw_host.decode("ascii")
        headers = {
            "Host": url.netloc.decode("ascii"),
            "User-Agent": "parlance",
            "Accept": "image/*",
            # What is packed may unpack to any size.
            "Accept-Encoding": "identity",
            "Connection": "close",
        }
        # The certificate is checked for the name, wherever the name led.
        extensions = {
            "sni_hostname": host,
            "timeout": {"connect": self._limits.seconds / len(addresses)},
        }
        for address in addresses:
            there = url.copy_with(host=address)
            request = httpx.Request("GET", there, headers=headers, extensions=extensions)
            try:
                return await self._transport.handle_async_request(request)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                logger.debug("%s at %s: %s", host, address, error)
            except httpx.HTTPError as error:
                raise _failed("its host did not answer as HTTP wants it") from error
        raise _failed("its host does not answer, or its certificate is not trusted")

    async def _body(self, response: httpx.Response) -> bytes:
        if response.status_code != 200:
            raise _failed(f"its host answered with the status {response.status_code}")
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise _failed("its host sends it compressed, though it was asked not to")
        data = bytearray()
        try:
            if int(response.headers.get("content-length", 0)) > self._limits.file_bytes:
                raise self._too_large()
            async for piece in response.aiter_raw():
                data += piece
                if len(data) > self._limits.file_bytes:
                    raise self._too_large()
        except httpx.HTTPError as error:
            raise _failed("its host broke off") from error
        return bytes(data)

    def _too_large(self) -> MediaError:
        return MediaError(
            f"the image at this URL has more than {self._limits.file_bytes:,} bytes, the most "
            "that one may",
            "image_file_too_large",
        )


def _joined(url: httpx.URL, location: str) -> httpx.URL:
    try:
        return web_url(str(url.join(location)))
    except (httpx.InvalidURL, MediaError) as error:
        raise _failed(f"it is redirected to where nothing is fetched: {error}") from error


def _failed(why: str) -> MediaError:
    return MediaError(f"the image at this URL was not fetched: {why}", "failed_to_download_image")
