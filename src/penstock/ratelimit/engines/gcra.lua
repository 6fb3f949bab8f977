-- Token buckets of one key, by the generic cell rate algorithm, as csrc/token_bucket.c: a bucket is the moment
-- at which it is full again. All quotas take the units, or none.
--
-- Moments are microseconds and a part of one: us + part / parts. A token of 7 a second is 1000000/7 us, which
-- is 142857 and 1/7; so sums are exact. The caller multiplies (in Python, where integers have no end), the
-- script adds and compares: nothing here comes near the 2^53 up to which a Lua number is an exact integer.
--
-- KEYS[1]  "us part" of each quota; absent when every bucket is full
-- ARGV     now in us or '' for the server's clock; 'take', 'peek' or 'refund'; number of quotas Q; number of choices K;
--          K amounts, greatest first: the first that fits is taken;
--          Q times: parts, depth us, depth part, K times: cost us, cost part
-- returns  as text, which clients read faster than a list: the amount that was taken or given back, now, Q times: us, part
local now = tonumber(ARGV[1])
local test_clock = now ~= nil
if not now then
    local time = redis.call('TIME')
    now = time[1] * 1000000 + time[2]
end
local quotas, choices = tonumber(ARGV[3]), tonumber(ARGV[4])
local function field(quota, i)
    return tonumber(ARGV[4 + choices + (quota - 1) * (3 + 2 * choices) + i])
end

local stored = {}
for number in string.gmatch(redis.call('GET', KEYS[1]) or '', '%d+') do
    stored[#stored + 1] = tonumber(number)
end
if #stored ~= 0 and #stored ~= 2 * quotas then
    return redis.error_reply('ERR penstock: the value of the key is no state of this limiter')
end

local us, part, changed = {}, {}, false
for q = 1, quotas do
    us[q], part[q] = stored[2 * q - 1] or now, stored[2 * q] or 0
    if us[q] < now then
        us[q], part[q] = now, 0
    end
    -- No bucket is emptier than empty. It looks so when the clock went back; without this, a clock that was
    -- years ahead for a moment would lock its keys for years.
    local depth_us, depth_part = now + field(q, 2), field(q, 3)
    if us[q] > depth_us or (us[q] == depth_us and part[q] > depth_part) then
        us[q], part[q], changed = depth_us, depth_part, true
    end
end

local done = 0
if ARGV[2] == 'refund' then
    done, changed = tonumber(ARGV[5]), true
    for q = 1, quotas do
        us[q], part[q] = us[q] - field(q, 4), part[q] - field(q, 5)
        if part[q] < 0 then
            us[q], part[q] = us[q] - 1, part[q] + field(q, 1)
        end
        if us[q] < now then
            us[q], part[q] = now, 0
        end
    end
elseif ARGV[2] == 'take' then
    for choice = 1, choices do
        local new_us, new_part, fits = {}, {}, true
        for q = 1, quotas do
            local parts = field(q, 1)
            local u, p = us[q] + field(q, 2 + 2 * choice), part[q] + field(q, 3 + 2 * choice)
            if p >= parts then
                u, p = u + 1, p - parts
            end
            local depth_us = now + field(q, 2)
            if u > depth_us or (u == depth_us and p > field(q, 3)) then
                fits = false
                break
            end
            new_us[q], new_part[q] = u, p
        end
        if fits then
            us, part, done, changed = new_us, new_part, tonumber(ARGV[4 + choice]), true
            break
        end
    end
end

local words, longest = {}, 0
for q = 1, quotas do
    words[q] = string.format('%.0f %.0f', us[q], part[q])
    longest = math.max(longest, us[q] - now + (part[q] > 0 and 1 or 0))
end
local state = table.concat(words, ' ')
if changed and longest == 0 then
    redis.call('DEL', KEYS[1])
elseif changed then
    -- A key that is full again is as good as none. A test's clock stands still while the server's runs.
    local ttl = math.ceil(longest / 1000) + 2 + (test_clock and 3600000 or 0)
    redis.call('SET', KEYS[1], state, 'PX', string.format('%.0f', ttl))
end
return string.format('%.0f %.0f ', done, now) .. state
