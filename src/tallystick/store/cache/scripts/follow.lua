-- Take or keep the lease of a tailer. KEYS: the mark, the lease. ARGV: the name of the process, the milliseconds of
-- the lease. Answers nil if another process has it; otherwise the mark, empty if there is none. A value that is no
-- text was not written by the ledger.
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
