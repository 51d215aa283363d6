-- Take or keep the lease of a tailer.
-- KEYS: the mark, the lease. ARGV: who asks, for how many milliseconds.
-- Answers nil when somebody else has it; else the mark, empty when there is none.
-- What is no text was written by nobody of us.
local holder = redis.pcall('GET', KEYS[2])
if type(holder) == 'string' and holder ~= ARGV[1] then
    return false
end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
local mark = redis.pcall('GET', KEYS[1])
if type(mark) == 'table' then
    redis.call('DEL', KEYS[1])
    return ''
end
return mark or ''
