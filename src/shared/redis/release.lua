-- Ends the claim, unless another process has it.
-- KEYS: record, claim. ARGV: claim.
if redis.call('GET', KEYS[2]) == ARGV[1] then
  redis.call('DEL', KEYS[2])
end
return 1
