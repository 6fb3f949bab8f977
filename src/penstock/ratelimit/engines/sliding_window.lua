-- The log of a key: at most `limit` units in any stretch of `period`, for each quota, or none is taken.
--
-- A sorted set of entries, score the moment in us, member "total:n": units taken from the beginning up to and
-- with this entry, and by it. The units of a stretch are then a difference of two totals, so a decision
-- looks at two entries for each quota however many there are. The set holds what the longest quota counts, so
-- never more entries than its limit. An entry of moment t counts up to and including t + period.
--
-- KEYS[1]  the set
-- ARGV     now in us or '' for the server's clock; 'take', 'peek' or 'refund'; number of quotas Q; number of choices K;
--          K amounts, greatest first: the first that fits is taken;
--          Q times: period us, limit
--          only for a refund, may be absent: give back only if the newest entry is of this moment
-- returns  as text, which clients read faster than a list: the amount that was taken or given back, now, moment of the newest entry or 0,
--          Q times: units, us until the least choice would fit
local now = tonumber(ARGV[1])
local test_clock = now ~= nil
if not now then
    local time = redis.call('TIME')
    now = time[1] * 1000000 + time[2]
end
local quotas, choices = tonumber(ARGV[3]), tonumber(ARGV[4])
local periods, limits, shortest, longest = {}, {}, math.huge, 0
for q = 1, quotas do
    periods[q], limits[q] = tonumber(ARGV[3 + choices + 2 * q]), tonumber(ARGV[4 + choices + 2 * q])
    shortest, longest = math.min(shortest, periods[q]), math.max(longest, periods[q])
end

local function parsed(member)
    local total, n = string.match(member, '^(%d+):(%d+)$')
    return tonumber(total), tonumber(n)
end
local function entry(total, n)
    return string.format('%016.0f:%.0f', total, n) -- padded: entries of one moment are sorted as text
end
local function number(value)
    return string.format('%.0f', value)
end

local newest = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')
local total, moment, clock = 0, 0, now
local function keep() -- until the newest entry counts no more
    local ttl = math.ceil((longest + moment - clock) / 1000) + 2 + (test_clock and 3600000 or 0)
    redis.call('PEXPIRE', KEYS[1], number(ttl))
end
if newest[1] then
    total, moment = parsed(newest[1]), tonumber(newest[2])
    if moment > now + shortest then
        -- The clock went back far. Let the newest entry be of now, and the others as much older as they were:
        -- each counts at least as long as it ought to, and none longer than its period from now.
        local back = moment - now
        local entries = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
        redis.call('DEL', KEYS[1])
        for i = 1, #entries, 2 do
            redis.call('ZADD', KEYS[1], number(math.max(entries[i + 1] - back, 0)), entries[i])
        end
        moment = now
        keep()
    elseif moment > now then
        now = moment -- a little back: it stands still
    end
end

-- Units that quota q counts now, and which entry is the first of them, from 0.
local function counted(q)
    local from = number(now - periods[q])
    local first = redis.call('ZRANGEBYSCORE', KEYS[1], from, '+inf', 'LIMIT', 0, 1)[1]
    if not first then
        return 0, 0
    end
    local upto, n = parsed(first)
    return total - upto + n, redis.call('ZRANK', KEYS[1], first)
end

-- us until quota q counts `excess` units fewer: until the entry with which they are gone counts no more.
local function wait(q, units, first, excess)
    local gone = total - units + excess
    local low, high = first, redis.call('ZCARD', KEYS[1]) - 1
    while low < high do
        local middle = math.floor((low + high) / 2)
        if parsed(redis.call('ZRANGE', KEYS[1], middle, middle)[1]) < gone then
            low = middle + 1
        else
            high = middle
        end
    end
    return tonumber(redis.call('ZRANGE', KEYS[1], low, low, 'WITHSCORES')[2]) + periods[q] + 1 - now
end

local units, firsts, done = {}, {}, 0
for q = 1, quotas do
    units[q], firsts[q] = counted(q)
end

if ARGV[2] == 'refund' then
    local left, only_of = tonumber(ARGV[5]), tonumber(ARGV[5 + choices + 2 * quotas])
    while left > 0 and (not only_of or only_of == moment) do
        local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')
        if not last[1] then
            break
        end
        local upto, n = parsed(last[1])
        local back = math.min(n, left)
        redis.call('ZREM', KEYS[1], last[1])
        if back < n then
            redis.call('ZADD', KEYS[1], last[2], entry(upto - back, n - back))
        end
        left, done, total, moment = left - back, done + back, upto - back, tonumber(last[2])
    end
    if done > 0 then
        keep()
        for q = 1, quotas do
            units[q] = math.max(units[q] - done, 0)
        end
    end
elseif ARGV[2] == 'take' then
    for choice = 1, choices do
        local n, fits = tonumber(ARGV[4 + choice]), true
        for q = 1, quotas do
            fits = fits and units[q] + n <= limits[q]
        end
        if fits then
            -- First what a server without memory refuses: after a write it refuses nothing more.
            redis.call('ZADD', KEYS[1], number(now), entry(total + n, n))
            redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. number(now - longest))
            total, moment, done = total + n, now, n
            keep()
            for q = 1, quotas do
                units[q] = units[q] + n
            end
            break
        end
    end
end

local reply = {string.format('%.0f %.0f %.0f', done, now, moment)}
for q = 1, quotas do
    local excess = 0
    if ARGV[2] ~= 'refund' and done == 0 then
        excess = units[q] + tonumber(ARGV[4 + choices]) - limits[q]
    end
    local us = excess > 0 and wait(q, units[q], firsts[q], excess) or 0
    reply[q + 1] = string.format('%.0f %.0f', units[q], us)
end
return table.concat(reply, ' ')
