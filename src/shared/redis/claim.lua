-- Claims the right to replace the record, if its revision is the expected one.
-- KEYS: record, claim. ARGV: expected revision (empty: no record), claim, time to live in milliseconds.
-- Returns 'granted', or 'denied' and when the other claim ends, or 'changed' and the record, if there is one.
local record = redis.call('HMGET', KEYS[1], 'revision', 'bytes', 'put_at')
if (record[1] or '') ~= ARGV[1] then
  if not record[1] then
    return {'changed'}
  end
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  -- A record that is too large is not one of this store. Without its content, it is damaged, and replaced.
  if #record[2] > MAX_RECORD_LEN then
    record[2] = ''
  end
  return {'changed', record[1], record[2], math.max(0, now - record[3])}
end
local owner = redis.call('GET', KEYS[2])
if owner and owner ~= ARGV[2] then
  local expires_in = redis.call('PTTL', KEYS[2])
  -- A claim without an expiry is not one of this script, and would never end.
  if expires_in >= 0 then
    return {'denied', expires_in}
  end
end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return {'granted'}
