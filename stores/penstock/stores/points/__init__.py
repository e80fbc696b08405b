"""Vectors as points: what the stores of Qdrant, Chroma, Milvus, Pinecone and Weaviate have in common.

One `store` over a small `engine`: a collection is one of the engine's; each key is a point, with the vector, what is
read back, and terms and numbers that filters ask for. An engine answers in its own words; the store keeps the contract.
"""
