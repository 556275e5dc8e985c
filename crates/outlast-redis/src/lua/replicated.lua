#!lua flags=allow-oom
-- Something that replicas must receive after all that was written before it. Nothing of it stays.

redis.call('SET', KEYS[1] .. ':replicated', '', 'PX', 60000)
return 1
