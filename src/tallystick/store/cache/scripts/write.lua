-- Set balances, each only if its position is higher than the cached one. KEYS: the mark. ARGV: the position as of
-- which they were read (0: each as of its own), the prefix of their keys, and a packed list of account, value,
-- account, value, ... A value begins with its position. A value that is older than the mark is refused, because the
-- log was read since and may have changed the balance. Answers the number of balances set, or -1 if there is no mark.
local mark = redis.call('GET', KEYS[1]) or ''
local generation, passed, opening = string.match(mark, '^(%x+) (%d+)(.*)$')
if not generation or (opening ~= '' and opening ~= ' opening') then
    return -1
end
passed = tonumber(passed)
local as_of = tonumber(ARGV[1])
local balances = cmsgpack.unpack(ARGV[3])
local written = 0
-- Many keys in one call, because the call itself costs most. Lua accepts at most some thousands of arguments.
for first = 1, #balances, 2000 do
    local keys, values = {}, {}
    for index = first, math.min(first + 1999, #balances), 2 do
        keys[#keys + 1] = ARGV[2] .. balances[index]
        values[#values + 1] = balances[index + 1]
    end
    local known = redis.call('MGET', unpack(keys))
    local newer = {}
    for index = 1, #keys do
        local position = tonumber(string.match(values[index], '^%d+'))
        if position >= passed or as_of >= passed then
            local known_generation, known_position
            if known[index] then
                known_generation, known_position = string.match(
                    known[index], '^(%x+) (%d+) %-?%d+ %-?%d+ %d+ [%w_]+ ?%x*$'
                )
            end
            if known_generation ~= generation or tonumber(known_position) < position then
                newer[#newer + 1] = keys[index]
                newer[#newer + 1] = generation .. ' ' .. values[index]
            end
        end
    end
    if #newer > 0 then
        redis.call('MSET', unpack(newer))
        written = written + #newer / 2
    end
end
return written
