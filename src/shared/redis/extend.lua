-- Sets the claim's time to live. Returns 1, or 0 if another process has the claim.
-- KEYS: record, claim. ARGV: claim, time to live in milliseconds.
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return 0
end
return redis.call('PEXPIRE', KEYS[2], ARGV[2])
