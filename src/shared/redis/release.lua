-- Ends the claim of this id, if it is granted.
-- KEYS: record, claim. ARGV: id.
if redis.call('GET', KEYS[2]) == ARGV[1] then
  redis.call('DEL', KEYS[2])
end
return 1
