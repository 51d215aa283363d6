-- Begin a new generation: earlier cached balances become invalid. KEYS: the mark. ARGV: the expected mark (empty:
-- none), the new one, the milliseconds for which it is valid. Answers 1, or 0 if there is another mark.
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then
    return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
