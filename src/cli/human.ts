/** A number of bytes for people, as du -h and ls -h print it: 512, 1.5k, 23M. */
export function humanBytes(bytes: number): string {
  let value = bytes
  let unit = 0
  for (; value >= 1024 && unit < 6; unit++) value /= 1024
  return unit === 0 ? String(value) : `${value < 10 ? value.toFixed(1) : Math.round(value)}${' kMGTPE'[unit]}`
}
