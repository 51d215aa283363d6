-- Pass a part of the log: check and set the balances that it changed, and move the mark.
-- KEYS: the mark. ARGV: the mark as it is expected to be, the new one, for how many milliseconds it is good (0: as
-- long as before), the prefix of keys, and a packed list of account, value, what stood before (balance, held), ...
-- Answers nil when the mark is another one; else account, value that was wrong, account, value, ...
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return false
end
local generation, passed = string.match(ARGV[1], '^(%x+) (%d+)$')
passed = tonumber(passed)
local balances = cmsgpack.unpack(ARGV[5])
local wrong = {}
for index = 1, #balances, 3 do
    local key = ARGV[4] .. balances[index]
    local value = generation .. ' ' .. balances[index + 1]
    local known = redis.pcall('GET', key)
    if known ~= value then
        local position = tonumber(string.match(balances[index + 1], '^%d+'))
        local text = type(known) == 'string' and known or ''
        local known_generation, known_position, before = string.match(
            text, '^(%x+) (%d+) (%-?%d+ %-?%d+) %d+ [%w_]+$'
        )
        known_position = tonumber(known_position)
        if known_generation ~= generation then
            -- Nothing is there, or what is there was left by another generation, or is nonsense.
            if known and not known_generation then
                wrong[#wrong + 1] = balances[index]
                wrong[#wrong + 1] = text
            end
            redis.call('SET', key, value)
        elseif known_position <= position then
            -- What was written from within this part cannot be compared with what stood before it.
            if known_position == position or (known_position <= passed and before ~= balances[index + 2]) then
                wrong[#wrong + 1] = balances[index]
                wrong[#wrong + 1] = text
            end
            redis.call('SET', key, value)
        end
    end
end
if ARGV[3] == '0' then
    redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
else
    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return wrong
