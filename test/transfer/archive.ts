/** A part of an archive: the header of one file, of fields as given, and its content. */
export function oneFile(
  name: string,
  fields: { flag?: string; link?: string; size?: number; body?: Uint8Array } = {},
): Buffer {
  const block = Buffer.alloc(512)
  block.write(name, 0, 100, 'latin1')
  block.write('0000644\0', 100)
  block.write('0000000\0', 108)
  block.write('0000000\0', 116)
  block.write(`${(fields.size ?? fields.body?.length ?? 0).toString(8).padStart(11, '0')}\0`, 124)
  block.write('00000000000\0', 136)
  block.write(fields.flag ?? '0', 156)
  block.write(fields.link ?? '', 157, 100, 'latin1')
  block.write('ustar\x0000', 257, 'latin1')
  block.write('        ', 148)
  block.write(
    `${block
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, '0')}\0 `,
    148,
  )
  const body = fields.body ?? new Uint8Array(0)
  return Buffer.concat([block, body, Buffer.alloc((512 - (body.length % 512)) % 512)])
}
