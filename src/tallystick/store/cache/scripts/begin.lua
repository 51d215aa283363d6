-- Begin a new generation: what was cached before counts no more.
-- KEYS: the mark. ARGV: the mark as it is expected to be (empty: none), the new one, milliseconds for which it is good.
-- Answers 1, or 0 when the mark is another one.
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then
    return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
