-- Grants the claim of this id, if the record's revision is the expected one and the claim of no other id is granted.
-- KEYS: record, claim. ARGV: expected revision (empty: no record), id, time to live in milliseconds.
-- Returns 'granted', or 'denied' and the milliseconds until the other claim ends, or 'changed' and the record, if any.
local record = redis.call('HMGET', KEYS[1], 'revision', 'bytes', 'put_at')
if (record[1] or '') ~= ARGV[1] then
  if not record[1] then
    return {'changed'}
  end
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  -- This store puts no record without bytes, or that is this large. Without its bytes, it counts as damaged, and is replaced.
  if not record[2] or #record[2] > MAX_RECORD_LEN then
    record[2] = ''
  end
  return {'changed', record[1], record[2], math.max(0, now - (tonumber(record[3]) or 0))}
end
local id = redis.call('GET', KEYS[2])
if id and id ~= ARGV[2] then
  local expires_in = redis.call('PTTL', KEYS[2])
  -- This script sets no claim without an expiry, which would never end. Ignore it.
  if expires_in >= 0 then
    return {'denied', expires_in}
  end
end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return {'granted'}
