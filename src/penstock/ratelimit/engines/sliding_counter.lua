-- Counter pairs of one key, as csrc/window_counter.h: units of this aligned window and of the last, which counts
-- by the share of it that the last `period` still covers. All quotas take the units, or none.
--
-- KEYS[1]  "number current previous" of each quota; number of the window since 1970
-- ARGV     now in us or '' for the server's clock; 'take', 'peek' or 'refund'; number of quotas Q; number of choices K;
--          K amounts, greatest first: the first that fits is taken;
--          Q times: period us, limit
--          only for a refund, may be absent: give back only if this moment is of the present window
-- returns  as text, which clients read faster than a list: the amount that was taken or given back, now, Q times: current, previous
local now = tonumber(ARGV[1])
local test_clock = now ~= nil
if not now then
    local time = redis.call('TIME')
    now = time[1] * 1000000 + time[2]
end
local quotas, choices = tonumber(ARGV[3]), tonumber(ARGV[4])
local only_of = tonumber(ARGV[5 + choices + 2 * quotas])

-- ceil(count * us / period) for count < 2^31 and us <= period: bit by bit, for the product may pass 2^53.
local function share(count, us, period)
    local quotient, rest, bit = 0, 0, 2 ^ 31
    while bit >= 1 do
        quotient, rest = 2 * quotient, 2 * rest
        if count >= bit then
            count, rest = count - bit, rest + us
        end
        while rest >= period do
            quotient, rest = quotient + 1, rest - period
        end
        bit = bit / 2
    end
    return rest > 0 and quotient + 1 or quotient
end

local stored = {}
for number in string.gmatch(redis.call('GET', KEYS[1]) or '', '%d+') do
    stored[#stored + 1] = tonumber(number)
end
if #stored ~= 0 and #stored ~= 3 * quotas then
    return redis.error_reply('ERR penstock: the value of the key is no state of this limiter')
end

local period, limit, number, current, previous, units = {}, {}, {}, {}, {}, {}
local changed, same_window = false, true
for q = 1, quotas do
    period[q], limit[q] = tonumber(ARGV[3 + choices + 2 * q]), tonumber(ARGV[4 + choices + 2 * q])
    local elapsed = math.fmod(now, period[q]) -- exact, as the % of Lua 5.1 is not
    local present = (now - elapsed) / period[q]
    local was = stored[3 * q - 2] or present
    local this, last = stored[3 * q - 1] or 0, stored[3 * q] or 0
    if was == present then
        current[q], previous[q] = this, last
    elseif was == present - 1 then
        current[q], previous[q] = 0, this
    elseif was < present then
        current[q], previous[q] = 0, 0
    else
        -- The clock went back: what counted then counts as of this window, which is at least as long as it
        -- ought to, and no longer than the next.
        current[q], previous[q], changed = math.min(this + last, limit[q]), 0, true
    end
    number[q] = present
    units[q] = current[q] + share(previous[q], period[q] - elapsed, period[q])
    same_window = same_window and (not only_of or only_of - math.fmod(only_of, period[q]) == now - elapsed)
end

local done = 0
if ARGV[2] == 'refund' then
    if same_window then
        for q = 1, quotas do
            local back = math.min(tonumber(ARGV[5]), current[q])
            current[q], done, changed = current[q] - back, math.max(done, back), true
        end
    end
elseif ARGV[2] == 'take' then
    for choice = 1, choices do
        local n, fits = tonumber(ARGV[4 + choice]), true
        for q = 1, quotas do
            fits = fits and units[q] + n <= limit[q]
        end
        if fits then
            for q = 1, quotas do
                current[q] = current[q] + n
            end
            done, changed = n, true
            break
        end
    end
end

local reply, words, longest = {string.format('%.0f %.0f', done, now)}, {}, 0
for q = 1, quotas do
    reply[q + 1] = string.format('%.0f %.0f', current[q], previous[q])
    words[q] = string.format('%.0f %.0f %.0f', number[q], current[q], previous[q])
    longest = math.max(longest, (number[q] + 2) * period[q] - now)
end
if changed then
    local ttl = math.ceil(longest / 1000) + 2 + (test_clock and 3600000 or 0)
    redis.call('SET', KEYS[1], table.concat(words, ' '), 'PX', string.format('%.0f', ttl))
end
return table.concat(reply, ' ')
