#!/usr/bin/env python3
"""TCP backends with manners of their own, on IPv4 and IPv6: tcp_server.py FIRST_PORT.

    FIRST+0  digest      reads until the client's FIN, then answers "LENGTH SHA256\n" and closes: half-close
    FIRST+1  reset       answers 100,000 bytes and resets the connection
    FIRST+2  stalled     accepts and never reads: backpressure
    FIRST+3  ticker      sends a line with a counter every 10 ms until the client goes
    FIRST+4  echo        sends back what it gets; its FIN follows the client's
    FIRST+5  farewell    sends "bye\n" and closes at once
"""
import asyncio
import contextlib
import hashlib
import socket
import struct
import sys


async def digest(reader, writer):
    total, sha = 0, hashlib.sha256()
    while data := await reader.read(1 << 16):
        total += len(data)
        sha.update(data)
    writer.write(f"{total} {sha.hexdigest()}\n".encode())
    await writer.drain()


async def reset(reader, writer):
    writer.write(b"x" * 100_000)
    await writer.drain()
    await reader.read(1)  # the client says when
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


STALLED = set()


async def stalled(reader, _):
    # The loop does not hold a connection that it does not read: without this the collector would close it.
    STALLED.add(asyncio.current_task())
    reader._transport.pause_reading()
    await asyncio.Event().wait()


async def ticker(_, writer):
    number = 0
    while True:
        writer.write(f"{number}\n".encode())
        await writer.drain()
        number += 1
        await asyncio.sleep(0.01)  # the beat of its lines; lint: polling pause


async def echo(reader, writer):
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()


async def farewell(_, writer):
    writer.write(b"bye\n")
    await writer.drain()


def closing(handler):
    async def run(reader, writer):
        with contextlib.suppress(ConnectionError, BrokenPipeError):
            try:
                await handler(reader, writer)
            finally:
                writer.close()
    return run


async def main():
    first = int(sys.argv[1])
    servers = []
    for offset, handler in enumerate((digest, reset, stalled, ticker, echo, farewell)):
        servers.append(await asyncio.start_server(closing(handler), ["0.0.0.0", "::"], first + offset, backlog=1024))
    print("ready", flush=True)
    await asyncio.gather(*(s.serve_forever() for s in servers))


if __name__ == "__main__":
    asyncio.run(main())
