"""What a Lotus node answers about a tipset, with all the fields that nobody here reads: made from records."""

from typing import Any

from streams.records import LogsRecord, Message, TipsetRecord


def block(tipset: TipsetRecord) -> dict[str, Any]:
    """As Lotus answers `eth_getBlockByHash`, with the fields that nobody here reads."""
    return {
        "hash": tipset.hash,
        "parentHash": tipset.parent_hash,
        "sha3Uncles": "0x" + "1d" * 32,
        "miner": "0x" + "00" * 20,
        "stateRoot": "0x" + "0a" * 32,
        "transactionsRoot": "0x" + "0b" * 32,
        "receiptsRoot": "0x" + "00" * 32,
        "logsBloom": "0x" + "ff" * 256,
        "difficulty": "0x0",
        "number": hex(tipset.height),
        "gasLimit": "0x2540be400",
        "gasUsed": hex(sum(message.gas_used for message in tipset.messages)),
        "timestamp": hex(tipset.timestamp_seconds),
        "extraData": "0x",
        "mixHash": "0x" + "00" * 32,
        "nonce": "0x0000000000000000",
        "baseFeePerGas": hex(tipset.base_fee_attofil),
        "size": "0x0",
        "transactions": [_transaction(tipset, place, message) for place, message in enumerate(tipset.messages)],
        "uncles": [],
    }


def _transaction(tipset: TipsetRecord, place: int, message: Message) -> dict[str, Any]:
    return {
        "chainId": "0x13a",
        "nonce": hex(place),
        "hash": message.hash,
        "blockHash": tipset.hash,
        "blockNumber": hex(tipset.height),
        "transactionIndex": hex(place),
        "from": message.sender,
        "to": message.receiver,
        "value": hex(message.value_attofil),
        "type": "0x2",
        "input": (message.selector or "0x868e10c4") + "00" * 128,
        "gas": hex(message.gas_limit),
        "maxFeePerGas": hex(message.gas_fee_cap),
        "maxPriorityFeePerGas": hex(message.gas_premium),
        "accessList": [],
        "v": "0x0",
        "r": message.hash,
        "s": message.hash,
    }


def receipts(tipset: TipsetRecord, logs: LogsRecord) -> list[dict[str, Any]]:
    """As Lotus answers `eth_getBlockReceipts`."""
    place = {"blockHash": tipset.hash, "blockNumber": hex(tipset.height)}
    receipts: list[dict[str, Any]] = [
        {
            "transactionHash": message.hash,
            "transactionIndex": hex(index),
            **place,
            "from": message.sender,
            "to": message.receiver,
            "root": "0x" + "00" * 32,
            "status": hex(message.succeeded),
            "contractAddress": message.created,
            "cumulativeGasUsed": "0x0",
            "gasUsed": hex(message.gas_used),
            "effectiveGasPrice": hex(message.gas_fee_cap),
            "logsBloom": "0x" + "00" * 256,
            "logs": [],
            "type": "0x2",
        }
        for index, message in enumerate(tipset.messages)
    ]
    for log in logs.logs:
        receipt = receipts[log.transaction % len(receipts)]
        told = {"transactionHash": receipt["transactionHash"], "transactionIndex": receipt["transactionIndex"], **place}
        receipt["logs"].append(
            {"address": log.emitter, "data": log.data, "topics": log.topics, "removed": False, "logIndex": hex(log.index), **told}
        )
    return receipts


def native_receipts(tipset: TipsetRecord, logs: LogsRecord) -> list[dict[str, Any]]:
    """As Lotus answers `Filecoin.ChainGetParentReceipts`."""
    loud = {log.transaction % len(tipset.messages) for log in logs.logs}
    return [
        {
            "ExitCode": 0 if message.succeeded else 33,
            "Return": "WCA" + "A" * 41 + "=",
            "GasUsed": message.gas_used,
            "EventsRoot": {"/": "bafy2bzaceevents"} if place in loud else None,
        }
        for place, message in enumerate(tipset.messages)
    ]
