-- Give a lease back. KEYS: the lease. ARGV: who has it.
if redis.call('GET', KEYS[1]) == ARGV[1] then
    redis.call('DEL', KEYS[1])
end
return 0
