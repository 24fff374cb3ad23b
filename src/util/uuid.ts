/** A random UUID (version 4). Pages that came by plain HTTP have no `crypto.randomUUID`. */
export function randomUuid(): string {
  const random = crypto.getRandomValues(new Uint8Array(16))
  const digits = Array.from(random, (byte) => byte.toString(16).padStart(2, '0')).join('')
  const variant = '89ab'[(random[8] as number) & 3]
  return digits.replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12})$/, `$1-$2-4$3-${variant}$4-$5`)
}
