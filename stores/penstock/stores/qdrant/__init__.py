"""The Qdrant backends: `server` (`qdrant://`, over gRPC) and `edge` (`qdrant-edge://`, the engine in this process).

All but the transport is `penstock.stores.points`. A collection is one of Qdrant's; each key is a point, whose id is
made from the key, and whose payload has the record.
"""
