"""What the tests of all windows ask of one."""


def drain(window):
    taken = 0
    while window.allow():
        taken += 1
    return taken


def facts(result):
    return result.allowed, result.count, result.remaining, result.retry_after, result.reset_after
