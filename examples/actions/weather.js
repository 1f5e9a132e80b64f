/*
 * Shows a sensor at work in JavaScript: one daily reading comes in over MQTT, its day is
 * judged. It answers what weather.py answers; see there for the meaning of the values.
 *
 *   edgectl on mqtt weather/daily weather-js
 */
const GROWING_BASE_C = 10;

const round = (value, digits) => Number(value.toFixed(digits));

function day(high, low) {
  if (high < 0) return "ice";
  if (low < 0) return "frost";
  return high > 25 ? "summer" : "mild";
}

function main(params) {
  // The feed wraps a message as {topic, payload, ...}; a direct call does not.
  const reading = params.payload === undefined ? params : params.payload;
  const high = parseFloat(reading?.temp_max);
  const low = parseFloat(reading?.temp_min);
  if (Number.isNaN(high) || Number.isNaN(low)) {
    return { error: "a reading needs temp_max and temp_min" };
  }
  const mean = (high + low) / 2;
  return {
    seq: reading.seq ?? null,
    date: reading.date ?? null,
    mean_c: round(mean, 2),
    range_c: round(high - low, 1),
    growing_degree_days: round(Math.max(0, mean - GROWING_BASE_C), 2),
    day: day(high, low),
  };
}
