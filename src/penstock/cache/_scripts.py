"""What a Redis server runs for a two-tier cache, each in one step: reads, writes and leases.

The name of a key is followed by that of its lease, which whoever computes the value holds under a token.
"""

from penstock.cache._round_trips import Script

__all__ = ["CLAIM", "DELETE", "FILL", "READ", "RELEASE", "RENEW", "WRITE"]

READ = Script("""
local found, room = {}, tonumber(ARGV[2])
for i, key in ipairs(KEYS) do
    if room <= 0 then break end
    local value = redis.pcall('GETRANGE', key, 0, ARGV[1])
    if type(value) == 'table' then value = false else room = room - #value end
    found[i] = {redis.call('PTTL', key), value}
end
return found
""")
"""Time to live in ms (-1: for ever, -2: not there) and value of each key, cut where it is too long.

None for a value of another kind, such as a list. Where there is no more room, the other keys are left out.
"""

WRITE = Script("""
for i = 1, #KEYS, 2 do
    if ARGV[1] == '0' then
        redis.call('SET', KEYS[i], ARGV[(i + 3) / 2])
    else
        redis.call('SET', KEYS[i], ARGV[(i + 3) / 2], 'PX', ARGV[1])
    end
    redis.call('DEL', KEYS[i + 1])
end
""")
"""Sets keys, each followed by its lease, which ends."""

DELETE = Script("""
local deleted = 0
for i = 1, #KEYS, 2 do
    deleted = deleted + redis.call('DEL', KEYS[i])
    redis.call('DEL', KEYS[i + 1])
end
return deleted
""")

CLAIM = Script("""
if ARGV[3] == '0' and redis.call('EXISTS', KEYS[1]) == 1 then return -1 end
if redis.call('GET', KEYS[2]) == ARGV[1] then return 1 end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
return 0
""")
"""Takes the lease of a key: 1 if it is ours, 0 if somebody else's, -1 if the value has come."""

RENEW = Script("""
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0
""")

RELEASE = Script("""
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
""")

FILL = Script("""
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then
    redis.call('SET', KEYS[1], ARGV[3])
else
    redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[2])
end
redis.call('DEL', KEYS[2])
return 1
""")
"""Stores what was computed under a lease, and ends the lease; 0 if it was lost, and nothing is stored."""
