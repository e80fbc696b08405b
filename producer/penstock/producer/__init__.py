"""The SDK that an agent imports: hand a record over and go on."""

from penstock.producer.blocking import BlockingProducer
from penstock.producer.client import Producer
from penstock.producer.errors import BufferFull, DeadLettered, NotQueued, NotStored, ProducerError, RecordDropped
from penstock.producer.receipt import Receipt
from penstock.producer.settings import ProducerSettings

__all__ = [
    "BlockingProducer",
    "BufferFull",
    "DeadLettered",
    "NotQueued",
    "NotStored",
    "Producer",
    "ProducerError",
    "ProducerSettings",
    "Receipt",
    "RecordDropped",
]
