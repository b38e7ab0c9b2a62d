import { http } from '../shared/clients.js'

export default async function ({ survivesSigterm }) {
  await survivesSigterm('', ['app.js'], { 'a request': { ask: (url, ms) => http(`${url}/work?ms=${ms}`), answer: '200 done' } }, 20)
}
