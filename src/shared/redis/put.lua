-- Replaces the record and ends the claim. Returns 1, or 0 if the claim of this id is not granted or the record's
-- revision is not the expected one. A repeated call, whose first reply was lost, returns 1 too.
-- KEYS: record, claim.
-- ARGV: expected revision (empty: no record), id, revision, bytes, time to live in milliseconds (empty: none).
local revision = redis.call('HGET', KEYS[1], 'revision') or ''
if revision == ARGV[3] and redis.call('HGET', KEYS[1], 'bytes') == ARGV[4] then
  return 1
end
if redis.call('GET', KEYS[2]) ~= ARGV[2] then
  return 0
end
if revision ~= ARGV[1] then
  return 0
end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
-- Redis does not undo writes before an error. So the first write is the one that fails if there is no memory.
redis.call('HSET', KEYS[1], 'revision', ARGV[3], 'bytes', ARGV[4], 'put_at', now)
if ARGV[5] == '' then
  redis.call('PERSIST', KEYS[1])
else
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
end
redis.call('DEL', KEYS[2])
return 1
