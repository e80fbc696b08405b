"""From the call to stored, idle: one message now and then, with default settings.

python -m benchmarks.latency [--messages 150]
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time

from benchmarks.measuring import median, percentile, system, worker
from penstock.producer import Producer


async def measure(environment: dict[str, str], messages: int) -> list[float]:
    """Milliseconds from the call to stored, each message sent when the system had fallen idle."""
    rng = random.Random(7)
    found = []
    async with Producer.from_env(environment) as producer:
        await producer.message(session_id="warm", role="user", content="up").stored(timeout=60)
        for number in range(messages):
            await asyncio.sleep(rng.uniform(0.3, 0.8))
            started = time.perf_counter()
            await producer.message(session_id=f"s{number}", role="user", content="hello").stored(timeout=30)
            found.append((time.perf_counter() - started) * 1000)
    return found


def main() -> None:
    """Print p50, p99 and the longest."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--messages", type=int, default=150)
    count = arguments.parse_args().messages
    with system() as (_, environment), worker(environment):
        found = asyncio.run(measure(environment, count))
    print("| idle call to stored | ms |\n|---|---|")
    print(f"| p50 | {median(found):.0f} |\n| p99 | {percentile(found, 0.99):.0f} |\n| longest | {max(found):.0f} |")


if __name__ == "__main__":
    main()
