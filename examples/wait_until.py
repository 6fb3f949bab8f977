"""Tasks that wait for enough in a warehouse, each for another amount."""

import asyncio

from penstock.fanout import Condition


class Warehouse:
    """Boxes that are delivered now and then."""

    def __init__(self) -> None:
        self.boxes = 0
        self.delivered = Condition()

    def deliver(self, boxes: int) -> None:
        """Puts boxes in, and wakes whoever finds enough now."""
        self.boxes += boxes
        woken = self.delivered.notify_all()
        print(f"{boxes} delivered, {self.boxes} there, {woken} can go on")

    async def fetch(self, boxes: int) -> None:
        """Takes boxes out as soon as there are so many."""
        await self.delivered.wait_for(lambda: self.boxes >= boxes)
        self.boxes -= boxes
        print(f"  {boxes} fetched")


async def main() -> None:
    warehouse = Warehouse()
    async with asyncio.TaskGroup() as group:
        for boxes in (5, 1, 3):
            group.create_task(warehouse.fetch(boxes))
        for boxes in (2, 2, 5):
            await asyncio.sleep(0.02)
            warehouse.deliver(boxes)


if __name__ == "__main__":
    asyncio.run(main())
