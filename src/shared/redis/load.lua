-- Returns the record: revision, bytes, age in milliseconds. Or nothing.
-- KEYS: record, claim.
local record = redis.call('HMGET', KEYS[1], 'revision', 'bytes', 'put_at')
if not record[1] then
  return {}
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return {record[1], record[2], math.max(0, now - record[3])}
