-- Sets the claim's time to live. Returns 1, or 0 if the claim of this id is not granted.
-- KEYS: record, claim. ARGV: id, time to live in milliseconds.
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return 0
end
return redis.call('PEXPIRE', KEYS[2], ARGV[2])
