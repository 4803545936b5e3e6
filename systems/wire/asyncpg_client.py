"""asyncpg: everything binary and prepared, cursors, and the types that it looks up by itself."""
import asyncio
import datetime
import sys

import asyncpg

port, rows = int(sys.argv[1]), int(sys.argv[2])
utc = datetime.timezone.utc


async def main():
    connection = await asyncpg.connect(host="127.0.0.1", port=port, user="ann", database="vitalake")
    row = await connection.fetchrow("SELECT id, who, height, adult, born, seen FROM raw.people WHERE id = $1", 1)
    want = (1, "person, 1", 0.25, False, datetime.date(2000, 1, 2), datetime.datetime(2026, 1, 1, 0, 0, 1, tzinfo=utc))
    assert tuple(row) == want, row
    assert await connection.fetchval("SELECT count(*) FROM raw.people WHERE height < $1 AND seen >= $2", 1.0, want[5]) >= 2
    assert await connection.fetchval("SELECT count(*) FROM raw.people WHERE id = ANY($1::bigint[])", [1, 2, 99999]) == 2
    assert await connection.fetchval("SELECT count(*) FROM (SELECT 1 FROM raw.people LIMIT $1) x", 5) == 5
    assert len(await connection.fetch("SELECT * FROM raw.people")) == rows
    async with connection.transaction(readonly=True):
        ids = [row["id"] async for row in connection.cursor("SELECT id FROM raw.people ORDER BY id", prefetch=1000)]
    assert ids == list(range(rows)), len(ids)
    try:
        await connection.fetch("SELECT nosuch FROM raw.people")
    except asyncpg.UndefinedColumnError:
        pass
    else:
        raise AssertionError("a column that is not there is not refused")
    try:
        await connection.fetch("SELECT count(*) FROM raw.people a, raw.people b, raw.people c WHERE a.id + b.id + c.id > 1", timeout=1)
    except TimeoutError:
        pass
    assert await connection.fetchval("SELECT 1") == 1
    await connection.reset()
    await connection.close()
    async with asyncpg.create_pool(host="127.0.0.1", port=port, user="ann", database="vitalake", min_size=4, max_size=8) as pool:
        counts = await asyncio.gather(*[pool.fetchval("SELECT count(*) FROM raw.people") for _ in range(16)])
    assert counts == [rows] * 16, counts
    print("asyncpg: binary values, portions, timeouts, a pool")


asyncio.run(main())
