/** Major and minor number of a device, unpacked from the form that Linux uses for programs. */
export const deviceNumbers = (dev: bigint): { major: bigint; minor: bigint } => ({
  major: ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & 0xfffff000n),
  minor: (dev & 0xffn) | ((dev >> 12n) & 0xffffff00n),
})
