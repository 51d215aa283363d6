-- Take or keep the lease of a tailer.
-- KEYS: the mark, the lease. ARGV: who asks, for how many milliseconds.
-- Answers nil when somebody else has it; else the mark, empty when there is none.
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[1] then
    return false
end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
local mark = redis.pcall('GET', KEYS[1])
if type(mark) == 'table' then
    redis.call('DEL', KEYS[1])
    return ''
end
return mark or ''
