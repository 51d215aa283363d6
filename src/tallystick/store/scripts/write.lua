-- Set balances, each only where its position is higher than the one that is there.
-- KEYS: the mark. ARGV: as of which position they were read (0: each as of its own), the prefix of their keys,
-- and a packed list of account, value, account, value, ... A value begins with its position.
-- What is older than the mark is refused: the log has been passed since, and it may have been changed there.
-- Answers how many were set, or -1 when there is no mark.
local mark = redis.call('GET', KEYS[1])
local generation, passed = string.match(mark or '', '^(%x+) (%d+)$')
if not generation then
    return -1
end
passed = tonumber(passed)
local as_of = tonumber(ARGV[1])
local balances = cmsgpack.unpack(ARGV[3])
local written = 0
for index = 1, #balances, 2 do
    local position = tonumber(string.match(balances[index + 1], '^%d+'))
    if position >= passed or as_of >= passed then
        local key = ARGV[2] .. balances[index]
        local known = redis.pcall('GET', key)
        local known_generation, known_position
        if type(known) == 'string' then
            known_generation, known_position = string.match(
                known, '^(%x+) (%d+) %-?%d+ %-?%d+ %d+ [%w_]+$'
            )
        end
        if known_generation ~= generation or tonumber(known_position) < position then
            redis.call('SET', key, generation .. ' ' .. balances[index + 1])
            written = written + 1
        end
    end
end
return written
