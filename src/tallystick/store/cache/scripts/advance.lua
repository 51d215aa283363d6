-- Process a part of the log: check and set the balances that it changed, and move the mark. KEYS: the mark. ARGV: the
-- expected mark, the new one, the milliseconds for which it is valid (0: its expiry does not change), the prefix of
-- keys, a packed list of account, value, previous state (balance, held), ..., and the length of the seal of each value.
-- Answers nil if there is another mark; otherwise account, wrong value, account, wrong value, ...
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return false
end
local generation, passed = string.match(ARGV[1], '^(%x+) (%d+)')
passed = tonumber(passed)
local balances = cmsgpack.unpack(ARGV[5])
local unsealed = -1 - ARGV[6]
local wrong = {}

-- Whether the cached value is older than a balance, and whether it is wrong.
local function compared(known, position, stood_before)
    if not known then
        return true, false
    end
    local known_generation, known_position, before = string.match(
        known, '^(%x+) (%d+) (%-?%d+ %-?%d+) %d+ [%w_]+ ?%x*$'
    )
    if known_generation ~= generation then
        -- It is from another generation, or cannot be read.
        return true, not known_generation
    end
    known_position = tonumber(known_position)
    if known_position > position then
        return false, false
    end
    -- A value from within this part cannot be compared with the state before the part.
    return true, known_position == position or (known_position <= passed and before ~= stood_before)
end

-- Many keys in one call, because the call itself costs most. Lua accepts at most some thousands of arguments.
for first = 1, #balances, 3000 do
    local keys = {}
    for index = first, math.min(first + 2999, #balances), 3 do
        keys[#keys + 1] = ARGV[4] .. balances[index]
    end
    local all_known = redis.call('MGET', unpack(keys))
    local newer = {}
    for number = 1, #keys do
        local index = first + 3 * (number - 1)
        local value = generation .. ' ' .. balances[index + 1]
        local known = all_known[number]
        -- Seals of the same balance differ, because each has its time.
        if not known or string.sub(known, 1, unsealed) ~= string.sub(value, 1, unsealed) then
            local position = tonumber(string.match(balances[index + 1], '^%d+'))
            local is_older, is_wrong = compared(known, position, balances[index + 2])
            if is_older then
                newer[#newer + 1] = keys[number]
                newer[#newer + 1] = value
            end
            if is_wrong then
                wrong[#wrong + 1] = balances[index]
                wrong[#wrong + 1] = known
            end
        end
    end
    if #newer > 0 then
        redis.call('MSET', unpack(newer))
    end
end
if ARGV[3] == '0' then
    redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
else
    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return wrong
