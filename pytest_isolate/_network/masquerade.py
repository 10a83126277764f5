"""What has a router hide who is behind it: one table of nftables with one rule for each interface,
as messages by pyroute2's classes.
"""

from __future__ import annotations

import struct

_BEGIN, _END = 16, 17  # NFNL_MSG_BATCH_*
_TABLES = 10  # NFNL_SUBSYS_NFTABLES
_NEWTABLE, _NEWCHAIN, _NEWRULE = (_TABLES << 8 | kind for kind in (0, 3, 6))
_REQUEST, _ACK, _CREATE, _APPEND = 0x1, 0x4, 0x400, 0x800
_INET = 1  # NFPROTO_INET: both families
_POSTROUTING, _SOURCE_NAT = 4, 100
_NAME = "isolate"
_OUTPUT_NAME, _REGISTER, _EQUAL = 7, 1, 0  # NFT_META_OIFNAME, NFT_REG_1, NFT_CMP_EQ
_LONGEST_NAME = 16


def requests(interface: str) -> list[bytes]:
    """For one interface of a router: a batch, which the kernel does as a whole and answers once."""
    from pyroute2.netlink.nfnetlink import nfgen_msg  # noqa: PLC0415 - dear
    from pyroute2.netlink.nfnetlink.nftsocket import (  # noqa: PLC0415
        nft_chain_msg,
        nft_rule_msg,
        nft_table_msg,
    )
    from pyroute2.nftables.expressions import genex  # noqa: PLC0415

    def encoded(
        message: nfgen_msg,
        kind: int,
        flags: int,
        family: int,
        resource: int,
        *attributes: tuple[str, object],
    ) -> bytes:
        (
            message["header"]["type"],
            message["header"]["flags"],
            message["header"]["sequence_number"],
        ) = (kind, _REQUEST | flags, 1)
        message["nfgen_family"], message["version"], message["res_id"] = family, 0, resource
        message["attrs"] = [list(each) for each in attributes]
        message.encode()
        return bytes(message.data)

    wanted = {"attrs": [("NFTA_DATA_VALUE", interface.encode().ljust(_LONGEST_NAME, b"\0"))]}
    rule = [
        genex("meta", {"key": _OUTPUT_NAME, "dreg": _REGISTER}),
        genex("cmp", {"sreg": _REGISTER, "op": _EQUAL, "data": wanted}),
        genex("masq", {}),
    ]
    hook = {"attrs": [("NFTA_HOOK_HOOKNUM", _POSTROUTING), ("NFTA_HOOK_PRIORITY", _SOURCE_NAT)]}
    batch = struct.unpack("=H", struct.pack(">H", _TABLES))[0]
    chain = (
        ("NFTA_CHAIN_TABLE", _NAME),
        ("NFTA_CHAIN_NAME", interface),
        ("NFTA_CHAIN_HOOK", hook),
        ("NFTA_CHAIN_TYPE", "nat"),
    )
    parts = [
        encoded(nfgen_msg(), _BEGIN, 0, 0, batch),
        encoded(nft_table_msg(), _NEWTABLE, _CREATE, _INET, 0, ("NFTA_TABLE_NAME", _NAME)),
        encoded(nft_chain_msg(), _NEWCHAIN, _CREATE, _INET, 0, *chain),
        encoded(
            nft_rule_msg(), _NEWRULE, _CREATE | _APPEND | _ACK, _INET, 0,
            ("NFTA_RULE_TABLE", _NAME), ("NFTA_RULE_CHAIN", interface),
            ("NFTA_RULE_EXPRESSIONS", rule),
        ),
        encoded(nfgen_msg(), _END, 0, 0, batch),
    ]  # fmt: skip
    return [b"".join(parts)]
