-- Returns the record (revision, bytes, age in milliseconds), or an empty array.
-- KEYS: record, claim.
local record = redis.call('HMGET', KEYS[1], 'revision', 'bytes', 'put_at')
if not record[1] then
  return {}
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- This store puts no record without bytes, or that is this large. Without its bytes, it counts as damaged.
if not record[2] or #record[2] > MAX_RECORD_LEN then
  record[2] = ''
end
return {record[1], record[2], math.max(0, now - (tonumber(record[3]) or 0))}
