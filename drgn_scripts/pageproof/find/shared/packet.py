# SPDX-License-Identifier: GPL-2.0-or-later
"""AF_PACKET's rings of any version: received packets, then packets to send, in one VMA."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import drgn
from drgn import cast

from pageproof.find.shared.finder import (
    Claim,
    Finder,
    UnknownPart,
    adjoining,
    behind_the_end,
    not_private,
    owner_of,
)
from pageproof.find.shared.xdp import AF_XDP

_AF_PACKET: Final = 17
#: Address families whose sockets can be mapped to receive by TCP without copies.
_OTHERS: Final = {2: "AF_INET", 10: "AF_INET6"}


def _claim(vma: drgn.Object) -> Claim | None:
    """Return both rings, which ``packet_mmap()`` of net/packet/af_packet.c maps as a whole."""
    sk = cast("struct socket *", vma.vm_file.private_data).sk
    family = int(sk.__sk_common.skc_family) if sk else 0
    if family == AF_XDP:
        return None
    if family != _AF_PACKET:
        raise UnknownPart(f"a socket of address family {_OTHERS.get(family, family)}")
    not_private(vma)
    sock = cast("struct packet_sock *", sk)
    rx_pages, tx_pages = _ring_pages(sock.rx_ring), _ring_pages(sock.tx_ring)
    page = int(vma.vm_pgoff)
    if page >= rx_pages + tx_pages:
        raise behind_the_end("its rings")
    return Claim(
        owner=sock.value_(),
        owner_type="struct packet_sock",
        part="",
        name=f"AF_PACKET rings, {rx_pages} pages to receive, {tx_pages} to send",
        pages=rx_pages + tx_pages,
        first_page=page,
    )


def _kernel_pages(prog: drgn.Program, claim: Claim) -> Sequence[int | None]:
    sock = owner_of(prog, claim)
    pages = [
        page
        for ring in (sock.rx_ring, sock.tx_ring)
        for block in range(_blocks(ring))
        for page in _block_pages(ring, block)
    ]
    if len(pages) != claim.pages:
        raise ValueError(f"there are {len(pages)} pages now, and there were {claim.pages} before")
    return pages


def _block_pages(ring: drgn.Object, block: int) -> Sequence[int]:
    """Return the contiguous pages of one block."""
    return adjoining(ring.pg_vec[block].buffer.value_(), int(ring.pg_vec_pages))


def _ring_pages(ring: drgn.Object) -> int:
    return _blocks(ring) * int(ring.pg_vec_pages)


def _blocks(ring: drgn.Object) -> int:
    return int(ring.pg_vec_len) if ring.pg_vec else 0


PACKET: Final = Finder(
    kind="packet",
    help="rings of AF_PACKET sockets",
    operations=("socket_file_ops",),
    claim=_claim,
    kernel_pages=_kernel_pages,
)
