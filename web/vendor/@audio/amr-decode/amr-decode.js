/**
 * AMR decoder — opencore-amr compiled to WASM
 * Decodes AMR-NB (8kHz) and AMR-WB (16kHz) audio files
 *
 * let { channelData, sampleRate } = await decode(amrbuf)
 */

let _modP

async function getMod() {
	if (_modP) return _modP
	let p = (async () => {
		let createAMR
		if (typeof process !== 'undefined' && process.versions?.node) {
			let m = 'module'
			let { createRequire } = await import(m)
			createAMR = createRequire(import.meta.url)('./src/amr.wasm.cjs')
		} else {
			let mod = await import('./src/amr.wasm.cjs')
			createAMR = mod.default || mod
		}
		return createAMR()
	})()
	_modP = p
	try { return await p }
	catch (e) { _modP = null; throw e }
}

/**
 * Whole-file decode
 * @param {Uint8Array|ArrayBuffer} src
 * @returns {Promise<{channelData: Float32Array[], sampleRate: number}>}
 */
export default async function decode(src) {
	let buf = src instanceof Uint8Array ? src : new Uint8Array(src)
	let dec = await decoder()
	try {
		return dec.decode(buf)
	} finally {
		dec.free()
	}
}

/**
 * Create decoder instance
 * @returns {Promise<{decode(chunk: Uint8Array): {channelData, sampleRate}, flush(), free()}>}
 */
export async function decoder() {
	return new AMRDecoder(await getMod())
}

const EMPTY = Object.freeze({ channelData: [], sampleRate: 0 })

// AMR-NB frame sizes (bytes, incl. header) indexed by mode 0-15
const NB_SIZES = [13, 14, 16, 18, 20, 21, 27, 32, 6, 6, 6, 6, 1, 1, 1, 1]
// AMR-WB frame sizes (bytes, incl. header) indexed by mode 0-15
const WB_SIZES = [18, 24, 33, 37, 41, 47, 51, 59, 61, 6, 1, 1, 1, 1, 1, 1]

class AMRDecoder {
	constructor(mod) {
		this.m = mod
		this.done = false
		this._ptr = 0
		this._cap = 0
	}

	decode(data) {
		if (this.done) throw Error('Decoder already freed')
		if (!data?.length) return EMPTY

		let buf = data instanceof Uint8Array ? data : new Uint8Array(data)

		// detect AMR-NB "#!AMR\n" or AMR-WB "#!AMR-WB\n"
		let isWB = false, off = 0
		if (buf.length > 6 &&
			buf[0] === 0x23 && buf[1] === 0x21 &&
			buf[2] === 0x41 && buf[3] === 0x4D && buf[4] === 0x52) {
			if (buf.length > 9 &&
				buf[5] === 0x2D && buf[6] === 0x57 && buf[7] === 0x42 && buf[8] === 0x0A) {
				isWB = true
				off = 9
			} else if (buf[5] === 0x0A) {
				off = 6
			}
		}

		if (!off) return EMPTY // no valid AMR header

		let m = this.m
		let sampleRate = isWB ? 16000 : 8000
		let sizes = isWB ? WB_SIZES : NB_SIZES

		let h = isWB ? m._amr_wb_create() : m._amr_nb_create()
		let chunks = []

		while (off < buf.length) {
			let mode = (buf[off] >> 3) & 0x0F
			let frameSize = sizes[mode]
			if (!frameSize || off + frameSize > buf.length) break

			let ptr = this._alloc(frameSize)
			m.HEAPU8.set(buf.subarray(off, off + frameSize), ptr)

			let n = isWB
				? m._amr_wb_decode(h, ptr, frameSize)
				: m._amr_nb_decode(h, ptr, frameSize)

			let outPtr = isWB ? m._amr_wb_output() : m._amr_nb_output()
			chunks.push(new Float32Array(m.HEAPF32.buffer, outPtr, n).slice())

			off += frameSize
		}

		if (isWB) m._amr_wb_close(h)
		else m._amr_nb_close(h)

		if (!chunks.length) return EMPTY

		let total = 0
		for (let c of chunks) total += c.length
		let out = new Float32Array(total)
		let pos = 0
		for (let c of chunks) { out.set(c, pos); pos += c.length }

		return { channelData: [out], sampleRate }
	}

	flush() { return EMPTY }

	free() {
		if (this.done) return
		this.done = true
		if (this._ptr) {
			this.m._free(this._ptr)
			this._ptr = 0
			this._cap = 0
		}
	}

	_alloc(len) {
		if (len > this._cap) {
			if (this._ptr) this.m._free(this._ptr)
			this._cap = len
			this._ptr = this.m._malloc(len)
		}
		return this._ptr
	}
}
