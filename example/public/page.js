const $ = (selector, within = document) => within.querySelector(selector)
const number = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })
const about = new Intl.NumberFormat('en', { notation: 'compact' })
const countries = new Intl.DisplayNames('en', { type: 'region', fallback: 'code' })
const millis = (ms) => ms >= 1000 ? `${(ms / 1000).toFixed(1)} s` : `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`

// ---- Asking the server ---------------------------------------------------------------------------------------------

async function failure (response) {
  const { message, statusCode } = await response.json().catch(() => ({ message: response.statusText, statusCode: response.status }))
  return new Error(`${statusCode}: ${message}`)
}

async function json (url, options) {
  const response = await fetch(url, options)
  if (!response.ok) throw await failure(response)
  return response.json()
}

/** Reads a JSON document a line: progress until the result. */
async function withProgress (url, options, onProgress) {
  const response = await fetch(url, { ...options, headers: { ...options.headers, accept: 'application/x-ndjson' } })
  if (!response.ok) throw await failure(response)
  const decoder = new TextDecoder()
  const reader = response.body.getReader()
  let rest = ''
  for (;;) {
    const { done, value } = await reader.read()
    if (done) throw new Error('The server ended before the result')
    const lines = (rest + decoder.decode(value, { stream: true })).split('\n')
    rest = lines.pop()
    for (const line of lines) {
      const { progress, result, error } = JSON.parse(line)
      if (error !== undefined) throw new Error(`${error.statusCode}: ${error.message}`)
      if (result !== undefined) return result
      onProgress(progress)
    }
  }
}

// ---- Load ----------------------------------------------------------------------------------------------------------

const loads = {
  searches: 'Five hundred clients search within ten seconds, and each waits for two seconds at most …',
  flood: 'One client asks two hundred times, and may ask five times …',
  stubborn: 'The job runs for 20 s and ignores every abort. Cancel it on the dashboard: its thread is replaced …',
  hungry: 'The job takes memory until its thread is ended …'
}

for (const button of document.querySelectorAll('[data-load]')) {
  button.addEventListener('click', async () => {
    const kind = button.dataset.load
    const status = $('.load [role=status]')
    button.disabled = true
    status.textContent = loads[kind]
    try {
      const { said } = await json(`/load/${kind}`, { method: 'POST' })
      status.textContent = said
    } catch (error) {
      status.textContent = error.message
    } finally {
      button.disabled = false
    }
  })
}

// ---- The three forms -----------------------------------------------------------------------------------------------

/** Runs `work` when the form is submitted, until it ends or Cancel is pressed. */
function connect (id, work) {
  const form = $(`#${id}`)
  const status = $('[role=status]', form)
  const bar = $('progress', form)
  const submit = $('[type=submit]', form)
  const cancel = $('[data-cancel]', form)
  let controller

  cancel.addEventListener('click', () => controller.abort())
  form.addEventListener('submit', async (event) => {
    event.preventDefault()
    controller = new AbortController()
    const { signal } = controller
    const begun = performance.now()
    submit.disabled = true
    cancel.disabled = false
    bar.value = 0
    form.dataset.state = 'running'
    status.textContent = 'Sent …'
    try {
      const said = await work({ form, signal, onProgress: (done, text) => { bar.value = done; status.textContent = text } })
      bar.value = 1
      form.dataset.state = 'done'
      status.textContent = `${said} (${millis(performance.now() - begun)})`
    } catch (error) {
      bar.value = 0
      form.dataset.state = signal.aborted ? 'cancelled' : 'failed'
      const after = millis(performance.now() - begun)
      status.textContent = signal.aborted ? `Cancelled after ${after}. The service stops the job, and its thread takes the next one.` : error.message
    } finally {
      submit.disabled = false
      cancel.disabled = true
    }
  })
  return form
}

let sample

const thumbnail = connect('thumbnail', async ({ form, signal, onProgress }) => {
  const file = sample ?? $('#file').files[0]
  sample = undefined
  if (file === undefined) throw new Error('Choose a picture first, or use the sample.')
  const width = encodeURIComponent($('#width').value)
  const options = { method: 'POST', body: file, headers: { 'content-type': file.type }, signal }
  const made = await withProgress(`/thumbnails?width=${width}`, options, ({ stage, done }) => onProgress(done, `${stage} …`))
  $('img', form).src = made.src
  $('figcaption', form).textContent = `${made.width} × ${made.height}, from ${number.format(file.size / 1024)} kB to ${number.format(made.src.length * 0.75 / 1024)} kB`
  $('figure', form).hidden = false
  return 'Done'
})

$('#sample').addEventListener('click', async () => {
  sample = await drawSample()
  thumbnail.requestSubmit()
})

/** A picture large enough to take a moment. */
function drawSample (width = 3600, height = 2400) {
  const canvas = Object.assign(document.createElement('canvas'), { width, height })
  const pen = canvas.getContext('2d')
  const sky = pen.createLinearGradient(0, 0, 0, height)
  for (const [at, colour] of [[0, '#1d2b64'], [0.5, '#f8836b'], [0.72, '#ffd194']]) sky.addColorStop(at, colour)
  pen.fillStyle = sky
  pen.fillRect(0, 0, width, height)
  pen.fillStyle = '#fff3d6'
  pen.beginPath()
  pen.arc(width * 0.68, height * 0.55, height * 0.09, 0, 7)
  pen.fill()
  for (const [layer, colour] of [[0.58, '#6a4c7d'], [0.68, '#43355f'], [0.8, '#231f3d']].entries()) {
    pen.fillStyle = colour[1]
    pen.beginPath()
    pen.moveTo(0, height)
    for (let x = 0; x <= width; x += 12) {
      const peak = Math.sin(x / 310 + layer * 2) * 0.05 + Math.sin(x / 97 + layer) * 0.018
      pen.lineTo(x, height * (colour[0] - peak))
    }
    pen.lineTo(width, height)
    pen.fill()
  }
  return new Promise((resolve) => canvas.toBlob(resolve, 'image/jpeg', 0.9))
}

const search = connect('search', async ({ form, signal, onProgress }) => {
  $('ol', form).replaceChildren()
  const query = new URLSearchParams({ q: $('#q').value, anyOrder: $('#any-order').checked })
  const { matches, compared } = await withProgress(`/search?${query}`, { signal }, (done) => onProgress(done, `${Math.round(done * 100)} % of the cities …`))
  $('ol', form).replaceChildren(...matches.map(({ name, country, population, distance }) => {
    const item = document.createElement('li')
    const small = document.createElement('small')
    small.textContent = `${countries.of(country)}, ${about.format(population)} people, ${distance} off`
    item.append(name, ' ', small)
    return item
  }))
  return `${number.format(compared)} comparisons`
})

$('#quick').addEventListener('click', () => {
  $('#q').value = 'tokoy'
  $('#any-order').checked = false
  search.requestSubmit()
})

/** A browser opens six connections to a server. Four for hashes leave two for the other forms. */
const HASHES_AT_ONCE = 4
let times = 1

const password = connect('password', async ({ form, signal, onProgress }) => {
  const total = times
  times = 1
  const hashes = []
  const refused = []
  let left = total
  const sendOthers = async () => {
    while (left-- > 0) {
      try {
        const { hash } = await json('/passwords', {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ password: $('#secret').value }),
          signal
        })
        hashes.push(hash)
        onProgress(hashes.length / total, `${hashes.length} of ${total} …`)
      } catch (error) {
        signal.throwIfAborted()
        refused.push(error)
      }
    }
  }
  await Promise.all(Array.from({ length: HASHES_AT_ONCE }, sendOthers))
  if (hashes.length === 0) throw refused[0]
  $('output', form).textContent = hashes[0]
  return `${total === 1 ? 'Hashed' : `${hashes.length} hashes`}${refused.length === 0 ? '' : `, ${refused.length} refused`}`
})

$('#many').addEventListener('click', () => {
  times = 20
  password.requestSubmit()
})

// ---- Signing up: the answer comes at once, the mail when its task has sent it ---------------------------------------

$('#user').addEventListener('submit', async (event) => {
  event.preventDefault()
  const form = event.currentTarget
  const say = (text) => { $('[role=status]', form).textContent = text }
  try {
    const user = await json('/users', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ name: $('#user-name').value, email: $('#user-email').value })
    })
    say(`You are user ${user.id}; the mail is on its way …`)
    const mails = await arrived(user.email)
    say(`You are user ${user.id}, and the mail has arrived`)
    $('#mails').replaceChildren(...mails.map(({ to, subject }) => {
      const item = document.createElement('li')
      item.textContent = `${subject} (to ${to})`
      return item
    }))
  } catch (error) {
    say(error.message)
  }
})

/** Looks until there is a mail to `address`, for a while. */
async function arrived (address) {
  for (let look = 0; look < 50; look++) {
    const mails = await json('/mails')
    if (mails.some(({ to }) => to === address)) return mails.reverse()
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error('The mail has not arrived: its task is still trying')
}

$('#host').textContent = document.location.host
