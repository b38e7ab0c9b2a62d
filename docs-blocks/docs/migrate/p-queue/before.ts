// before
import PQueue from 'p-queue'

declare const urls: string[]
declare function warm (url: string): Promise<void>

const queue = new PQueue({ concurrency: 4 })
const pages = await queue.addAll(urls.map((url) => async () => (await fetch(url)).text()))
void queue.add(async () => warm('https://example.com'))
