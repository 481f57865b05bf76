# Whether the broker answers at a port without TLS (9092): one request of Kafka's protocol (ApiVersions, version 0), and
# the length of its answer.
# Docker starts again what has ended, and not what is unhealthy: a broker that was silent for a minute is ended, one
# that has not answered yet, and may be reading its log, after ten.
port=${1:-9092}
limit_s=600
[ -e /tmp/was-well ] && limit_s=60
if timeout 3 bash -c '
  exec 3<>/dev/tcp/127.0.0.1/$0
  printf "\x00\x00\x00\x0e\x00\x12\x00\x00\x00\x00\x00\x01\x00\x04ping" >&3
  [ "$(head -c 4 <&3 | wc -c)" = 4 ]' "$port"
then
  touch /tmp/was-well
  rm -f /tmp/not-well-since
  exit 0
fi
now=$(date +%s)
[ -s /tmp/not-well-since ] || echo "$now" > /tmp/not-well-since
if [ $((now - $(cat /tmp/not-well-since))) -ge $limit_s ]; then
  rm -f /tmp/not-well-since
  kill -KILL -1
  kill -CONT 1
fi
exit 1
