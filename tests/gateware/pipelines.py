"""Helper for blocks without flow control: something goes each clock and comes out a fixed number of clocks later."""


async def stream_through(ctx, items, latency, drive, read):
    """Drive one item per clock; return what is read ``latency`` clocks after each."""
    results = []
    for clock in range(len(items) + latency):
        if clock < len(items):
            drive(items[clock])
        if clock >= latency:
            results.append(read())
        await ctx.tick()
    return results
